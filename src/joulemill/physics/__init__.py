"""Pure room: architecture, device, workload, deployment, site → work, step time, energy, ceilings, production."""
