"""What knows of no connection: errors, options, addresses, the contract of backends."""
