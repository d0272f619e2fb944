"""The queue in PostgreSQL, for several listeners at once.

    schema      the tables, and how an older database is brought up
    session     a connection, bounded in time, and what its errors mean
    store       deliveries: many to a commit, each one certain before it is answered
    lease       which of the listeners works a lane
    queue       all of it, as `base.Queue` has it

psycopg is imported when a connection is made.
"""
