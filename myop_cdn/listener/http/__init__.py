"""HTTP/1.1 as a server speaks it: sockets and time apart from bytes and their meaning.

request, response    what is on the wire, without I/O
protocol             what is said on one connection
connection, server   sockets, time and fairness
sockets              where to listen, and TLS
"""
