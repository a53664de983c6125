"""Search over models that write token by token. Nothing here knows which model it is: see `seminal.core.Writer`."""
