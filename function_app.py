"""The app as Azure Functions loads it: it registers the blueprints, and nothing else."""

import azure.durable_functions as df
import azure.functions as func

from backup_core.triggers.app import BLUEPRINTS

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for blueprint in BLUEPRINTS:
    app.register_functions(blueprint)
