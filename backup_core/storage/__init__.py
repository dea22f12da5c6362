"""Where bytes lie: named immutable objects in a folder, in Azure Blob Storage or in memory, behind one contract."""
