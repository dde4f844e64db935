"""`python -m workers.main`: one worker process."""

import argparse
import os

from workers.celery_app import celery_app
from workers.logs import configure_worker_logging


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs stages and bulk predictions, one at a time.")
    parser.add_argument("--queues", default="gpu,cpu,bulk", help="which queues to take from (default: all)")
    arguments = parser.parse_args()
    configure_worker_logging()
    celery_app.worker_main(
        [
            "--quiet",  # no banner among the log's lines
            "worker",
            f"--queues={arguments.queues}",
            "--without-gossip",
            "--without-mingle",
            "-n",
            f"{os.getpid()}@%h",
        ]
    )


if __name__ == "__main__":
    main()
