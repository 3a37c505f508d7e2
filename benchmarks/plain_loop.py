"""The plain loop that anybody would write with the `ollama` package: the line to be measured against."""

from __future__ import annotations

import json
import sys

import ollama


def main() -> None:
    """Ask every model every prompt: HOST and FILE with {"models": [...], "prompts": [...]} on the command line."""
    with open(sys.argv[2], encoding="utf-8") as file:  # noqa: PTH123 - as anybody would write it
        work = json.load(file)
    client = ollama.Client(sys.argv[1])
    right = 0
    for model in work["models"]:
        for prompt in work["prompts"]:
            answer = client.chat(model, [{"role": "user", "content": prompt}])
            right += (answer.message.content or "").startswith("[")
    print(right)


if __name__ == "__main__":
    main()
