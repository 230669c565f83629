"""Commands on kept models: explain, export, lit and predict."""
