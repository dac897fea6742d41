"""The one door to DNS."""
