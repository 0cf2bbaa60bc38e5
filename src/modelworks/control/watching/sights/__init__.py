"""What is seen of the arms of roll-outs: whether they are warm, and what was counted of them."""
