"""Operations on collections outside of a run, such as live updates and erasure."""
