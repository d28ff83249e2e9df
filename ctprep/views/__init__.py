"""What a conversion would do, and what a store looks like: counts, pictures, single volumes."""
