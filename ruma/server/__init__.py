"""The server: turns HTTP into calls. The only asynchronous code in Ruma."""
