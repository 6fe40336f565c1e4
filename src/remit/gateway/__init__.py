"""The data plane: admits requests, forwards them to vendors, settles what they cost; see README.md."""
