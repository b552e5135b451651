"""Pages of tables and figures from results."""
