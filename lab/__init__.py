"""The lab: learns lookup tables for stateless load balancers, sweeps, compares and exports them."""
