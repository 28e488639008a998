"""What does not depend on connections: errors, options, addresses, the contract of backends."""
