"""`python -m lab`, and what `ray submit cluster.yaml lab/__main__.py ...` runs on the head."""

from lab.cli import main

if __name__ == "__main__":
    main()
