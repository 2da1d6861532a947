"""Signs what stands in a file of signatures as the worker in Python does, one a line."""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(sys.argv[2]))
from signing import sign

with open(sys.argv[1], encoding="utf-8") as signatures:
    for v in json.load(signatures):
        print(json.dumps(sign((v["key"], v["secret"]), v["channel"], v["message"], v["user"], v["id"], v["time"])))
