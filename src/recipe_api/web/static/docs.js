SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null, // it would ask an outside host
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
