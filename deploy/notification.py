"""Saves where notifications go as a block on the Prefect server, and prints its id for deploy/automation.yaml.

    python deploy/notification.py URL

The URL is Slack's, or of anything else that takes Slack's form of a webhook (Mattermost, Rocket.Chat). The server keeps
it encrypted.
"""

from __future__ import annotations

import sys

from prefect.blocks.notifications import SlackWebhook

if __name__ == "__main__":
    if len(sys.argv) != 2 or "://" not in sys.argv[1]:
        raise SystemExit("usage: python deploy/notification.py URL")
    print(SlackWebhook(url=sys.argv[1]).save("synthesize-to-learn", overwrite=True))
