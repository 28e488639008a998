"""The fallback ground: the completion contract kept on epoll, kqueue or select, in pure Python."""
