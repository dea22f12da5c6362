"""How organisations and people come to be protected: consent, enrolment of users, and a single person's sign-in."""
