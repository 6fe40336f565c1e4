"""What vendors say was used and charged, beside what the ledger says."""
