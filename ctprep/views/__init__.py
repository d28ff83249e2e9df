"""What a store looks like: counts, pictures, single volumes."""
