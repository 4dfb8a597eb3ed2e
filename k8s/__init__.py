"""A release on its cluster: what runs, why not, to another version and back. The chart owns every manifest; this reads, and calls helm."""
