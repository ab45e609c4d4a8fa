"""The methods: each takes references and seeds and gives images."""
