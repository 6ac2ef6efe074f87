"""Saves where notifications go as a block on the Prefect server, and prints its id for deploy/automation.yaml.

    python deploy/notification.py URL

The URL is a webhook that takes {"text": ...}, as Slack's, Mattermost's and Rocket.Chat's do. Prefect has blocks for
mail, Teams, PagerDuty and others too (`prefect.blocks.notifications`).
"""

from __future__ import annotations

import sys

from prefect.blocks.notifications import CustomWebhookNotificationBlock

if __name__ == "__main__":
    if len(sys.argv) != 2 or "://" not in sys.argv[1]:
        raise SystemExit("usage: python deploy/notification.py URL")
    block = CustomWebhookNotificationBlock(
        name="synthesize-to-learn", url=sys.argv[1], json_data={"text": "{{subject}}\n{{body}}"}
    )
    print(block.save("synthesize-to-learn", overwrite=True))
