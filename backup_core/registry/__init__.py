"""Who is protected: tenants, accounts, audit and sealed tokens in one table, and the key that seals them."""
