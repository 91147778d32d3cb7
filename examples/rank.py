"""The order of many pictures for a prompt, pair by pair as they are judged. Needs `requests`.

    python examples/rank.py "four blue triangles" a.png b.png c.png
"""

import base64
import json
import os
import sys

import requests

SERVER = os.environ.get("REWARDRT_SERVER", "http://127.0.0.1:8080")
TOKEN = os.environ.get("REWARDRT_TOKEN")


def main(prompt, *paths):
    items = [base64.b64encode(open(path, "rb").read()).decode() for path in paths]
    headers = {"authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    ask = {"prompt": prompt, "items": items, "stream": True}
    with requests.post(f"{SERVER}/v1/rank", json=ask, headers=headers, stream=True, timeout=600) as response:
        if not response.ok:
            # 429 and 503 say in `retry-after` when to come back.
            sys.exit(f"{response.status_code}: {response.json()['error']['message']}")
        for line in response.iter_lines():
            document = json.loads(line)
            if "pair" in document:
                pair = document["pair"]
                winner = (pair["answer"] or {}).get("winner")
                print(f"{document['done']} of {document['most']}: {pair['first']} and {pair['second']}: {winner}")
            elif "ranking" in document:
                for index in document["ranking"]["order"]:
                    print(paths[index], document["ranking"]["items"][index]["win_rate"])
            else:
                sys.exit(document["error"]["message"])


main(*sys.argv[1:])
