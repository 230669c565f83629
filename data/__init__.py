"""What a trial learns from: headlines, their sources, and which rows a pattern draws."""
