"""The ledger as FOCUS 1.4 datasets: Cost and Usage, Invoice Detail, Billing Period."""
