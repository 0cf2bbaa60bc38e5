"""What the control plane tells its gateways: one snapshot of all that answers, and who follows."""
