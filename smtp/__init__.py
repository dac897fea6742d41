"""The SMTP door: submission by customers and the reports that come back."""
