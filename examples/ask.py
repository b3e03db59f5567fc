"""Ask an agent from Python, with the standard library alone; the answer is shown as it is made.

Run: RUMA_URL=http://127.0.0.1:8420/t/main RUMA_KEY=ruma_… python ask.py "What does delivery cost?"
"""

import json
import os
import sys
import urllib.error
import urllib.request

request = urllib.request.Request(
    f"{os.environ['RUMA_URL']}/api/chat",
    data=json.dumps({"question": " ".join(sys.argv[1:])}).encode(),
    headers={
        "Authorization": f"Bearer {os.environ['RUMA_KEY']}",
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
    },
)
try:
    with urllib.request.urlopen(request, timeout=120) as response:
        event = ""
        for line in response:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                event = value
            elif field == "data":
                data = json.loads(value)
                if event == "token":
                    print(data["text"], end="", flush=True)
                elif event == "done":
                    print()
                    for citation in data["citations"]:
                        print(f"[{citation['number']}] {citation['title']}: {citation['quote']}")
                elif event == "error":
                    sys.exit(f"\nError: {data['error']['message']} {data['error']['hint']}")
except urllib.error.HTTPError as refused:
    problem = json.load(refused)["error"]
    sys.exit(f"Error: {problem['message']} {problem['hint']}")
