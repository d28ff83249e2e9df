"""What a trained network says of scans, and how good that is."""
