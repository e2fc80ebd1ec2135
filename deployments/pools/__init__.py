"""How a gateway reaches the engine pools: ports over Serve handles, and the choice between pools."""
