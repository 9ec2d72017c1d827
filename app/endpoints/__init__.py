"""HTTP endpoints: parse, one call into the domain, respond."""
