"""Signs notifications, for servers that take no others (docs/notifications.md)."""

import hashlib
import hmac
import time
import uuid


def read_key(file):
    """Returns the first key of a file, on each line of which there is one: an id and a secret."""
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if len(words) == 2 and not words[0].startswith("#"):
                return words
    raise ValueError(f"{file}: there is no key in it")


def sign(key, channel, message, user=None, id=None, at=None):
    """Returns a notification with all that belongs to a signature. Each has an id of its own."""
    key_id, secret = key
    id = id or str(uuid.uuid4())
    at = int(time.time()) if at is None else at
    signed = b""
    for text in ["signalrd notification 1", channel, key_id, str(at), id, user or "", message]:
        part = text.encode()
        signed += b"%d:%s," % (len(part), part)
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return {"user": user, "message": message, "id": id, "time": at, "key": key_id, "signature": signature}
