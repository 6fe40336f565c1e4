"""`python -m remit` is `remit`."""

from remit.cli.entry import main

if __name__ == "__main__":
    main()
