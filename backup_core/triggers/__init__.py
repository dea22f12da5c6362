"""Where Azure Functions meets the rooms: HTTP routes, pages, timer, orchestrations. They unpack, call and map."""
