SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null, // it would contact another host
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
