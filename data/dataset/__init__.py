"""The data set that trials train on, and which of its rows a pattern draws."""
