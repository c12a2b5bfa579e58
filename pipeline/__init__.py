"""How a packet travels. Its seven steps, and where each is done:

1. a producer records it             `region.producer`, `region.intake_files`, `region.spool`
2. it lies in the outbox, durable    `adapters.outbox_sqlite`; its states: `lifecycle`
3. it leaves in a frame              `region.push` (`framing`, `flights`, `speaker`), as fast as `throttle`
                                     lets it, over `adapters.redis_region_link`
4. the center stores it: a receipt   `center.intake` (`reading`, `sessions`), `adapters.ledger_sql`
5. a verdict, and its record         `center.validation` (`rules`, `matching`)
6. facts and records are sent back   `center.deliver`, over `adapters.redis_center_link`
7. they are applied, each once       `region.pull`, `adapters.registry_sqlite`; `region.push` settles the
                                     outbox by them

`ports` says what the steps ask of stores, link and clock. Disks, sockets and clocks are touched by
`adapters`, by the relay of `linksim`, and where step 1 reads a producer's files. `hop` has the rules of the
link that both ends share, `inspection` only reads, and `testing` holds the fakes. What runs the steps is in
`workers`; what travels is in `schemas`.
"""
