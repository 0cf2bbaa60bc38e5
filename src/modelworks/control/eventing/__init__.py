"""Messages of a broker ask a model server, and its answers go back."""
