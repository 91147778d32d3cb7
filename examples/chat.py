"""Two pictures and a question, through OpenAI's client. Needs `openai`.

    python examples/chat.py "Which picture shows a fox?" first.png second.png
"""

import base64
import os
import sys

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("REWARDRT_SERVER", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("REWARDRT_TOKEN", "none"),
)


def picture(path):
    # What the bytes are is read from the bytes; the type in the address is not asked.
    data = base64.b64encode(open(path, "rb").read()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def main(text, *paths):
    content = [*map(picture, paths), {"type": "text", "text": text}]
    model = client.models.list().data[0].id
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], max_tokens=1024, stream=True
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="", flush=True)
    print()


main(*sys.argv[1:])
