"""The engine pools as a gateway reaches them: ports over Serve handles, and the choice between pools."""
