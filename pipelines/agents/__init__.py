"""Who answers a call: an agent's definition, and where agents are found."""
