"""`python -m workers.main`: one worker process."""

import argparse
import logging
import os

from workers.celery_app import celery_app


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs stages, one at a time.")
    parser.add_argument("--queues", default="gpu,cpu", help="which queues to take from (default: both)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    celery_app.worker_main(
        [
            "worker",
            f"--queues={arguments.queues}",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
            "-n",
            f"{os.getpid()}@%h",
        ]
    )


if __name__ == "__main__":
    main()
