"""A release on its cluster: show it, move it to another version, move it back. The chart owns every manifest; this reads and calls helm.

__main__: the command line.  status: what runs and why not.  rollout: upgrade and rollback.  helm, cluster: what they ask.
pods, claims, conflicts: what the API server says about them, in words.  store_job: a Job that lists the store.
"""
