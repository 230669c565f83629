"""Result folders collected into one table, with predictions and signatures."""
