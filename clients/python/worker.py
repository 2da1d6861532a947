"""Publishes notifications, which every signalrd hands to its clients:

    python3 worker.py [--user NAME] [--count N] MESSAGE

Without --user everybody gets them. --count publishes N, numbered from 1, as
fast as Redis takes them. REDIS_URL says where Redis is, by default
redis://127.0.0.1:6379. NOTIFY_KEYS_FILE names the file with the key that they
are signed with; without it they are not.
"""

import argparse
import json
import os
import sys

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from signing import read_key, sign

CHANNEL = "notify.users"
BATCH = 1000  # what travels together


def main():
    arguments = read_arguments()
    url = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379"
    file = os.environ.get("NOTIFY_KEYS_FILE")
    try:
        key = read_key(file) if file else None
        # No retries: what seems to have failed may have been published.
        with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
            servers = publish(client, arguments, key)
    except (redis.RedisError, OSError, ValueError) as error:
        sys.exit(f"not published: {error}")
    print(f"published {arguments.count}, heard by {servers} server{'' if servers == 1 else 's'}")


def publish(client, arguments, key):
    """Returns how many subscribers heard it."""
    servers = 0
    for first in range(1, arguments.count + 1, BATCH):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + BATCH, arguments.count + 1)):
            text = f"{arguments.message} {number}" if arguments.count > 1 else arguments.message
            pipeline.publish(CHANNEL, notification(arguments.user, text, key))
        servers = max(servers, *pipeline.execute())
    return servers


def notification(user, message, key):
    """What travels: a user that is left out means everybody."""
    members = {"user": user, "message": message} if user else {"message": message}
    return json.dumps(sign(key, CHANNEL, **members) if key else members)


def read_arguments():
    parser = argparse.ArgumentParser(description="Publishes notifications; REDIS_URL says where.")
    parser.add_argument("--user", metavar="NAME", help="the user to notify; without it everybody")
    parser.add_argument("--count", metavar="N", type=int, default=1, help="how many to publish, numbered if more than one")
    parser.add_argument("message", metavar="MESSAGE")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("N is a whole number from 1")
    return arguments


if __name__ == "__main__":
    main()
